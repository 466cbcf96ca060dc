"""From a trained model to the smallest file that keeps its accuracy: `compress`."""
