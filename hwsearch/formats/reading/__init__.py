"""What readers of model files share: a canonical graph built operator by operator, and for which sizes of pictures it holds."""
