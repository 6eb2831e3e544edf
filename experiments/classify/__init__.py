"""Classifiers on pre-trained encoders."""
