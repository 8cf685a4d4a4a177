;; A component, and that is all.
(component)
