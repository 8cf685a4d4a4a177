;; Never has room for the rows; the config, which is text, is let through.
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (if (i32.gt_u (local.get 2) (i32.const 1)) (then (loop $again (br $again))))
  (i32.const 65536))
