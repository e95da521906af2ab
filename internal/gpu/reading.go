package gpu

// A Reading is what the driver says about one card or instance at one moment.
// Unknown numbers are -1, never 0, because 0 means idle.
type Reading struct {
	UtilizationPercent int     // 0 to 100; -1 on most drivers for instances and for cards with MIG on
	MemoryUsedBytes    int64   // -1 = unknown
	PowerWatts         float64 // of the whole card; -1 on an instance, which has none of its own
	TemperatureC       int     // of the whole card; -1 on an instance
	Processes          []Process
	Unlisted           bool // the driver doesn't tell them all
}

// A Process is one process that has the device open for computing or
// graphics.
type Process struct {
	PID         int   // in the host's pid namespace
	MemoryBytes int64 // memory of the device it holds, -1 = unknown
}
