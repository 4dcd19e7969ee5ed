"""Fixed numbers of crystals that come from elsewhere: pretrained networks, compositions, columns, files, packages."""
