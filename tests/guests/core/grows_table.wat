;; Grows its table in every call, and breaks when it may not.
(table $t 1 funcref)
(func (export "reelflow:plugin/transform@0.1.0#apply") (param i32 i32 i32) (result i32)
  (loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))))
  unreachable)
