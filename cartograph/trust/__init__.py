"""What both code locations apply to their graphs so that nothing untrusted goes on: policies, once for all assets.

The only part of the kernel beside the command line that knows Dagster. When assets run by themselves is `automation`;
which checks guard an asset, also one of the other location, is `asset_graph`; whether they hold is `gate`.
"""
