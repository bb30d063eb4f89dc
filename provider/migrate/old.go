package migrate

import "time"

// oldFile is what migrate reads of a config.toml, with the runner's own decoder: the case of keys does not matter.
type oldFile struct {
	Concurrent int
	Machine    struct {
		Drain drain `toml:"shutdown_drain"`
	}
	Runners []oldRunner
}

// drain is [machine.shutdown_drain], which is for all docker+machine runners.
type drain struct {
	Enabled bool
	Retries int           `toml:"max_retries"`
	Backoff time.Duration `toml:"retry_backoff"`
}

type oldRunner struct {
	Name     string
	Executor string
	Limit    int
	Cache    struct {
		ServerAddress string
		S3            struct{ ServerAddress string }
	}
	Machine    oldMachine
	Autoscaler *struct {
		PluginConfig struct{ Name string } `toml:"plugin_config"`
	}
}

// oldMachine is [runners.machine].
type oldMachine struct {
	oldIdle
	MachineDriver  string
	MachineName    string
	MachineOptions []string
	MaxBuilds      int
	MaxGrowthRate  int
	Autoscaling    []oldIdle
}

// oldIdle is what docker+machine keeps idle: the root of [runners.machine], or one [[runners.machine.autoscaling]].
type oldIdle struct {
	Periods         []string
	Timezone        string
	IdleCount       int
	IdleTime        int // seconds
	IdleScaleFactor float64
	IdleCountMin    int
}
