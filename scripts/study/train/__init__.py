"""From packed arrays and a recipe to the weights of the best epoch.

In come one recipe, a seed, the packed images and the class weights. Out go history.csv, best.safetensors, run.json and
TensorBoard's events of the run; checkpoints stand beside them, the last one also when it is done.

    loop                the epoch loop: read it first; everything below is called from there
    learner             model, loss, optimizer and schedule of a run, its training step and its validation
    batches             packed images on the device or read ahead, normalised, in batches
    augmentation        flips, shifts, rotations, erasing, and all else that is drawn for an epoch's images
    draws               what was drawn for images in a row, cut and moved as one
    crops               random crops, resized or after padding
    operations          TrivialAugment, RandAugment, colour jitter
    mixing              mixup and CutMix
    samplers            the order of an epoch; the class-balanced sampler
    seeds               where every random number comes from
    models              networks by name, the study's head, VGGs of any width
    pretrained          torchvision's published weights: where they are, and whether a file is them
    losses              cross entropy, weighted or not; what stands in front of it; the loss comparable between recipes
    optimizers          the optimizers of torch.optim that recipes name
    parameter_groups    what is trained, in groups of one learning rate and weight decay
    averaging           the exponential moving average of the weights
    schedules           the schedules of the learning rate, warm-up, and what is told of them
    stopping            early stopping
    scores              the validation scores that may choose the best epoch, and the one that is watched
    outcome             completed, early stopped, collapsed or diverged, and the facts behind it
    devices             which device and precision; the lease that keeps two jobs off one GPU
    graphs              the training step as a CUDA graph
    convolutions        convolutions as matrix products, or one gradient of theirs, where a CPU is faster so
    checkpoints         the state of a run, saved and found again
    run_files           what a finished run leaves behind, and the line of the log for an epoch
"""
