"""From the weights of a run to its predictions and what they are worth.

In come best.safetensors and the packed images of validation and test. Out go predictions.csv, the probability of every
class for every image, and metrics.json, which is made from predictions.csv alone.

    prediction          the network on both splits, and what a file of weights says of itself
    adjustment          another run's predictions, adjusted after the training
    metrics             accuracy, recall, macro-F1, NLL, calibration error and confusion matrix; reads predictions.csv
    views               test-time augmentation: what the network sees of each image
"""
