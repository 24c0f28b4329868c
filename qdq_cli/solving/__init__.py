"""Linear and integer programs, solved exactly."""
