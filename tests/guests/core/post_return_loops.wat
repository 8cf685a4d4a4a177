;; Answers, and does not come back from cleaning up.
(func (export "cabi_post_reelflow:plugin/transform@0.1.0#apply") (param i32) (loop $again (br $again)))
