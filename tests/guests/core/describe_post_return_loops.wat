;; Says what it is, and does not come back from cleaning up.
(func (export "cabi_post_reelflow:plugin/describe@0.1.0#describe") (param i32) (loop $again (br $again)))
