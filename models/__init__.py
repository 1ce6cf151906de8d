"""What the model is: features, preprocessing, network, training, signatures."""
