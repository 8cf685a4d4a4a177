;; Two memories of 48 MiB: each is below the limit of 64, both are not.
(component
  (core module $other (memory 768))
  (core instance $j (instantiate $other))
  (core module $m (memory 768) (func (export "apply")))
  (core instance $i (instantiate $m))
  (func $apply (canon lift (core func $i "apply")))
  (instance $transform (export "apply" (func $apply)))
  (export "reelflow:plugin/transform@0.1.0" (instance $transform))
  (instance $describe (export "describe" (func $apply)))
  (export "reelflow:plugin/describe@0.1.0" (instance $describe)))
