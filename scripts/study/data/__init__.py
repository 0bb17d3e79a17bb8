"""From raw images to what training reads.

In comes what `data.source` of the configuration names. Out go manifest.csv (every image with its class, split and
fate), audit.json, one packed array per split with pack.json, and class_weights.csv.

    sources/            the forms that raw images may come in, and `open_source`; the zip-bomb limit is in zip_archive;
                        table reads tables of them, with tables, table_columns, table_labels and image_files behind it;
                        arrays those of NumPy, shards Parquet with images inside
    data_settings       the section `data` of the configuration, and the fingerprint by which a source is known again
    folder_tree         what a tree of paths says of classes and official splits; layout tells which folders these are
    leftovers           what lies among images and is none, told by its name
    decode              a file to pixels, pixels to the packed size, and the hash by which copies are known
    wide_samples        images with samples of more than 8 bits, brought to 8
    metadata            an image file without its metadata, where that is damaged
    file_kinds          what a file is that holds no image that is read, in words
    manifest            manifest.csv as a table; manifest_building makes it, with splits and audit
    groups              images that belong together, and their division; splits: training, validation and test
    near_copies         pictures that are nearly the same, found by their details
    packed              the packed arrays, opened; packing writes them
    class_weights       weights of the classes in the loss
    fetch               a download that is whole and verified, or not there
"""
