"""The schemas of requests and responses, from which the OpenAPI document is made.

Input is checked by these schemas, and a field they do not know is an error.
Output is what the records' ``encode`` returns; its schemas document it, and a contract
test checks responses against them.
"""
