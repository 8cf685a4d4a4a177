;; Its list of outputs starts at an odd byte.
(data (i32.const 512) "\01\04\00\00\01\00\00\00\00\00\00\00\00\00\00\00")
