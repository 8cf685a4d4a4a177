;; Refuses a row for a reason that lies behind its memory.
(data (i32.const 512) "\00\00\00\00\00\00\00\00\00\04\00\00\01\00\00\00")
(data (i32.const 1024) "\00\00\00\00\00\00\00\00\fe\ff\0f\00\09\00\00\00")
