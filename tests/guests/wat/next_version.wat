;; Built for a contract that this host does not know.
(component
  (instance $transform)
  (export "reelflow:plugin/transform@0.2.0" (instance $transform)))
