"""The service: answers from one release at a time, over HTTP. It computes nothing that a release does not hold."""
