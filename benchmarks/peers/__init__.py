"""The same work with other task queues: a front that stores, workers that call."""
