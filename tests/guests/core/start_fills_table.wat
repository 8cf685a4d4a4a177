;; Grows its table before anything is called, and breaks when it may not.
(table $t 1 funcref)
(func $start
  (loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))))
  unreachable)
(start $start)
