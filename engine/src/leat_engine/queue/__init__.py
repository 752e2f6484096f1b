"""The wake-up and the load balancer. The store is the truth: what a queue loses or doubles costs time only."""
