;; Loops through a table of jumps.
(func (export "reelflow:plugin/transform@0.1.0#apply") (param i32 i32 i32) (result i32)
  (loop $a (loop $b (br_table $a $b $a (i32.const 1))))
  (i32.const 512))
