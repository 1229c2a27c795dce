"""Laws: forms and their expressions, regression on measurements, prediction, scores."""
