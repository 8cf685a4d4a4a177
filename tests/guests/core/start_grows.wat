;; Takes all memory that there is before anything is called, and breaks when there is no more.
(func $start (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)
(start $start)
