;; Describes itself in bytes that are no text.
(data (i32.const 16) "\ff\fe")
