"""The shapes of what the API takes and gives; its OpenAPI document is made of them.

Input is checked by these schemas, and a field they do not know is an error.
Output is what the records' ``encode`` gives; its schemas are the promise, which a
contract test holds the answers to.
"""
