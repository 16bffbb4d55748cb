"""The way in: customers and page views from HTTP APIs and files into the database."""
