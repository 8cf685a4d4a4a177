;; A table of a million functions: 8 MB of the host's memory that no memory limit sees.
(component
  (core module $m (table 1000000 funcref) (func (export "apply")))
  (core instance $i (instantiate $m))
  (func $apply (canon lift (core func $i "apply")))
  (instance $transform (export "apply" (func $apply)))
  (export "reelflow:plugin/transform@0.1.0" (instance $transform))
  (instance $describe (export "describe" (func $apply)))
  (export "reelflow:plugin/describe@0.1.0" (instance $describe)))
