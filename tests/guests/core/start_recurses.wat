;; Calls itself before anything is called.
(func $start (call $start))
(start $start)
