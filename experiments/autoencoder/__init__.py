"""The layer-wise autoencoder of David & Greental."""
