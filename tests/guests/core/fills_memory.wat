;; Writes a MiB over and over: one instruction of it cannot be interrupted, the loop around it can.
(func (export "reelflow:plugin/transform@0.1.0#apply") (param i32 i32 i32) (result i32)
  (loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 983040)) (br $again))
  (i32.const 512))
