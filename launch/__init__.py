"""Launchers: they start `restpg_jax.main` on pods and clusters.

They need Python 3.11 and its standard library only, so that they run on a
machine on which nothing of the project is installed.
"""
