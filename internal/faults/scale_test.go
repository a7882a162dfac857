package faults

const stoppedEnv = "HOLDOFF_FAULTS_STOPPED"

func runStopped(string) {}
