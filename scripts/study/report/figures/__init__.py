"""The figures of a study, each drawn by one function to one SVG file.

Every function takes the material and the path to write, and a key (experiment, case, optimizer) if there is one figure
for each. `study.report.all_figures` declares them: name, caption, place on the first page.

    curves     loss and accuracy by epoch, of one recipe and of a case
    recipes    all recipes beside each other; learning rate × batch size
    effects    what each treatment does by itself
    cost       accuracy against the time of training
    classes    images and weights per class, sample images, recall, confusion matrices
    errors     calibration, recall with intervals, most confused pairs
    label_hints  images whose label may be wrong
    subgroups  scores by what else the source says of the images
    record     published results and ours, accuracy by training time: docs/RECORD.md
    material   what figures are drawn from
    style      fonts, colours, the file
"""
