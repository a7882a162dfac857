package retryapi

const callerEnv = "HOLDOFF_RETRYAPI_CALLER"

func runCaller(string) {}
