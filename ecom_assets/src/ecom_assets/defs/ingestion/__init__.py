"""Raw and quarantine assets: the chosen shop's sources, as its file under `shops/` names them."""
