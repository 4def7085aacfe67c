"""The knowledge base: documents of a workspace, split into passages that a search finds.

::

    model        what a source, a document and a passage are
    tables       their tables
    store        SQL
    ranking      which passages a search ranks, and what a word counts
    search_…     the full text search of each database
    words        what of a text is searched, and where a passage has what was found
    reading      Markdown, HTML and text → sections; in a process that can be ended
    html         the part of that which takes HTML apart
    splitting    sections → passages
    endpoint     what makes vectors of texts
    vectors      vectors as they are stored
    embeddings   the SQL of vectors
    embedder     has passages embedded that have no vector
    nearest      the passages whose vectors are nearest to a query's
    meaning      what a process needs to find passages by what they mean
    hnsw         the index of vectors that PostgreSQL may have
    command      the command that makes it
    fusion       one ranking of two
    service      what a person may do with all this

Nothing of it is searched across workspaces: each query names the workspace itself.
"""
