"""The formats of other programs' logs, one module each; `README.md` lists them and says how to add one."""
