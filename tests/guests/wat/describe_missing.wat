;; A world that does not say what it is.
(component
  (instance $join)
  (export "reelflow:plugin/join@0.1.0" (instance $join)))
