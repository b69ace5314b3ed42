# One image for the API and the workers; the command decides which of them it is.
# There was no container engine where this was written: the file has never been built.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/finalizer
COPY requirements-image.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements-image.txt

COPY pipelines ./pipelines
COPY worker ./worker

# Nothing is ever written to the image's disk: any user will do, and root is the wrong one.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin finalizer
USER finalizer

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
CMD ["uvicorn", "worker.api:app", "--host", "0.0.0.0", "--port", "8000"]
