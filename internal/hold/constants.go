package hold

// A Constant is one that documents state: see [Constants].
type Constant struct {
	Name  string
	Value any // a number, or a time.Duration
}

// Constants are the machine's, under their names: tests hold the documents to them.
func Constants() []Constant {
	return []Constant{
		{"tripAfter", tripAfter}, {"quorum", Quorum}, {"holdBase", holdBase}, {"holdCap", holdCap},
		{"slot", Slot}, {"grace", Grace}, {"maxPermits", MaxPermits}, {"measureWindow", measureWindow},
		{"pacingCooldown", pacingCooldown}, {"lessOften", lessOften}, {"moreOften", moreOften},
		{"maxCooldownDoublings", maxCooldownDoublings}, {"steadyAfterDecrease", steadyAfterDecrease}, {"idleAfter", idleAfter},
		{"increaseFactor", increaseFactor}, {"accelerateAfterSlots", accelerateAfterSlots}, {"sendsPerSlot", sendsPerSlot}, {"maxSlot", maxSlot},
		{"minRate", minRate}, {"maxRate", maxRate}, {"allRefusedThreshold", allRefusedThreshold}, {"quotaSlack", QuotaSlack},
		{"quotaReorder", QuotaReorder}, {"minLease", minLease}, {"minHold", MinHold},
	}
}
