;; Its list of outputs has so many that their bytes cannot be counted in 32 bits.
(data (i32.const 512) "\00\04\00\00\ff\ff\ff\ff\00\00\00\00\00\00\00\00")
