"""From the weights of a run to its predictions and what they are worth.

In come best.safetensors and the packed images of validation and test, or a file of predictions. Out go
predictions.parquet, the log-probability of every class for every image, and metrics.json, which is made from
predictions.parquet alone.

    prediction          the network on both splits, and what a file of weights says of itself
    predictions         what came out, and predictions.parquet
    adjustment          another run's predictions, adjusted after the training
    own_predictions     predictions of somebody else's network, read from a file and checked
    metrics             accuracy, recall, macro-F1, NLL and calibration error; each class's images, hits and guesses
    views               test-time augmentation: what the network sees of each image
"""
