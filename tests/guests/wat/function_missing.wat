;; The interface without its function.
(component
  (instance $transform)
  (export "reelflow:plugin/transform@0.1.0" (instance $transform))
  (instance $describe)
  (export "reelflow:plugin/describe@0.1.0" (instance $describe)))
