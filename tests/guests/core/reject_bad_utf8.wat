;; Refuses a row for a reason that is no text.
(data (i32.const 512) "\00\00\00\00\00\00\00\00\00\04\00\00\01\00\00\00")
(data (i32.const 1024) "\00\00\00\00\00\00\00\00\00\08\00\00\02\00\00\00")
(data (i32.const 2048) "\c3\28")
