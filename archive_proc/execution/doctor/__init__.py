"""`doctor`: looks for real at what a run will stand on, and says what to do where it does not stand."""
