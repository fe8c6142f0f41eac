"""Reports of a week or a month: from the records to documents. They are written in a process of their own."""
