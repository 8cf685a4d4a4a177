;; Cannot make up its mind.
(component
  (instance $nothing)
  (export "reelflow:plugin/transform@0.1.0" (instance $nothing))
  (export "reelflow:plugin/join@0.1.7" (instance $nothing)))
